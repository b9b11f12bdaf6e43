from robustft.data.fetch.meter import Meter


def test_the_meter_tells_bytes_speed_and_time_left_at_most_every_so_often():
    now, lines = [100.0], []
    meter = Meter(lines.append, "received", total=100_000_000, done=20_000_000, seconds=10.0, clock=lambda: now[0])
    now[0] = 109.9
    meter.update(39_000_000)
    assert lines == []
    now[0] = 110.0
    meter.update(40_000_000)
    now[0] = 119.0
    meter.update(90_000_000)
    # 20 MB in 10 s: 2 MB/s, and 60 MB are left.
    assert lines == ["received 40.0 of 100.0 MB, 2.00 MB/s, about 30 s left"]


def test_the_meter_without_a_known_size_tells_no_time_left():
    now, lines = [0.0], []
    meter = Meter(lines.append, "received", total=None, clock=lambda: now[0])
    now[0] = 10.0
    meter.update(5_000_000)
    assert lines == ["received 5.0 MB, 0.50 MB/s"]

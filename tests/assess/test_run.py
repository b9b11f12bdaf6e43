import contextlib

from robustft.assess.evaluation import evaluate
from robustft.assess.request import Settings
from robustft.assess.run import ledgers_of
from robustft.files import sha256_file
from tests.assess.conftest import arrays, network


def test_there_is_one_ledger_for_each_attack_and_eps_and_one_clean(made):
    assert sorted(path.stem for path in (made / "ledgers").glob("*.parquet")) == [
        *("clean", "cw-linf-1_25", "cw-linf-1_50", "pgd10-linf-1_25", "pgd10-linf-1_50"),
    ]


def test_an_attack_with_its_own_threat_has_one_ledger():
    assert [plan.name for plan in ledgers_of(Settings(attacks=("pgd_l2",)))] == ["clean", "pgd_l2-l2-64_51"]


def test_a_new_eps_computes_itself_alone_and_changes_nothing(copy):
    before = {path: sha256_file(path) for path in (copy / "ledgers").iterdir()}
    said: list[str] = []
    evaluate(network(), arrays(), eps=["1/10", "1/50"], attacks=["pgd10"], to=copy, threads=1, log=said.append)
    assert [line for line in said if "is there" in line] == [
        "clean is there (1 of 3)",
        "pgd10-linf-1_50 is there (3 of 3)",
    ]
    assert {path: sha256_file(path) for path in before} == before
    assert (copy / "ledgers" / "pgd10-linf-1_10.parquet").is_file()


def test_a_model_is_left_as_it_was():
    model = network().train()
    evaluate(model, arrays(), eps="1/25", attacks=["pgd10"], threads=1)
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_killed_attack_goes_on_at_its_shard(copy, monkeypatch):
    """The bytes are those of an evaluation that was not interrupted."""
    from robustft.evaluate.step import Evaluator

    whole = copy / "whole"
    evaluate(network(), arrays(), eps="1/10", attacks=["pgd10"], to=whole, threads=1, shard=10)
    piece, done = Evaluator._piece, []

    def dies(self, attack, shard):
        if attack["name"] == "pgd10" and len(done) == 2:
            raise KeyboardInterrupt
        done.append(shard) if attack["name"] == "pgd10" else None
        return piece(self, attack, shard)

    monkeypatch.setattr(Evaluator, "_piece", dies)
    again = copy / "again"
    with contextlib.suppress(KeyboardInterrupt):
        evaluate(network(), arrays(), eps="1/10", attacks=["pgd10"], to=again, threads=1, shard=10)
    monkeypatch.setattr(Evaluator, "_piece", piece)
    assert len(list((again / "scratch").rglob("*.piece"))) == 2
    evaluate(network(), arrays(), eps="1/10", attacks=["pgd10"], to=again, threads=1, shard=10)
    name = "ledgers/pgd10-linf-1_10.parquet"
    assert (again / name).read_bytes() == (whole / name).read_bytes()
    assert not (again / "scratch").exists()

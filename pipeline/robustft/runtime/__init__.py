"""What every step runs on: its context, the device, randomness by name, memory."""

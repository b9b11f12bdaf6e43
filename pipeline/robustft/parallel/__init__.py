"""One run on several processes: sharded batches, batch norm over the whole batch, launching."""

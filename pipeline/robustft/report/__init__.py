"""From ledgers to numbers, tables, figures and verdicts. Never imports torch."""

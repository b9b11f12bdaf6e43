"""Where numbers came from, as recorded: what steps write of themselves, the audit of it, statements and signatures."""

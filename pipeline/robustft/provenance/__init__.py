"""Where every number came from: records that steps write, and the audit that checks them."""

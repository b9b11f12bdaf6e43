"""Networks and the parts that methods add to them."""

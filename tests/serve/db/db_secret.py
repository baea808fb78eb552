"""The password of the test cluster, with characters that an address has to quote."""

PASSWORD = "s3cret/p@ss word"
QUOTED = "s3cret%2Fp%40ss%20word"

"""What follows from a problem: needs of shards, options, who may go where, the digest."""

"""What another policy would have done with recorded requests: who would answer, at what cost, after how long."""

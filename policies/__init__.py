"""How an answer is obtained: the onion of request policies, none of which knows another."""

"""Who is asking: credentials in, principals or refusals out."""

"""Several workers under one parent: each worker is a whole gateway on ports that all of them share."""

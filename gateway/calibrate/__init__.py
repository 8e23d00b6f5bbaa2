"""What `penstock calibrate` is made of: rows with known answers in, a certified threshold as a patch and a report out."""

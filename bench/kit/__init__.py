"""What `bench/run.py` is made of: conditions, inputs, scores, measuring, the table, its tables and figures."""

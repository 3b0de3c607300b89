"""Networks made by rule, faulty and healthy, whose cause is known; see `diagnosis.py`."""

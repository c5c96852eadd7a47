"""What ``soak.py --cluster`` is made of, beside the cluster itself, which ``members`` starts.

callers.py   who leaves jobs, and what they were told
troubles.py  what is killed, stopped and started anew
books.py     what the database says, held against what the callers were told
"""

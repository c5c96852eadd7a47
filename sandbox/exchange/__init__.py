"""One call in a box, from the order for its cell to the kernel's word that it has ended.

``exchange`` is what all kinds have in common; ``cold``, ``load`` and ``warm`` say what each does
when its cell is placed, confined, loaded. ``messages`` is what is sent, ``facts`` what is known.
"""

"""The papers' methods and their baselines: one short file for each paper.

The training loop knows a method only through the four functions of `Method`. A method file never imports the loop,
the data or another method; `config/methods.yaml` and the papers' configurations name the classes.
"""

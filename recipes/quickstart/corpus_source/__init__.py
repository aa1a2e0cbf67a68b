"""Inventories and sentence patterns from which the demonstration corpus is written.

``english_facts`` and ``chinese_facts`` hold what is true in the small world of the corpus,
``*_lessons`` turn those facts into short informative texts, and ``*_stories`` tell what happens
to the people who live there. ``dealing`` decides, reproducibly, which fact and which wording
comes next.
"""

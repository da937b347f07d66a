"""What may honestly be claimed of a network, and how it is found out.

============= =====================================================================
module        idea
============= =====================================================================
making        the best weights of a run, calibrated and with thresholds: not judged yet
sheets        the test ECGs drawn under every condition, kept in a cache
examination   a sheet put before the network as it is served
judgement     answers against truth: every figure of the card
controls      what must fail: shuffled labels, erased traces
baselines     a one-dimensional network on the signal: the ceiling of the data
rate_rule     what rate, regularity and QRS width alone tell
beside        figures of other networks on the same ECGs
contest       a candidate and the champion on the same ECGs: the rule of a promotion
aims          what was wanted, and whether it is met
card, tables  the model card for people (card_tables: its parts)
site_card     the same of a network that went on learning on a site's own ECGs
pictures      ROC, reliability, confusion, the worst errors (charts: how they are drawn)
============= =====================================================================

``python -m models.evaluate --help`` runs it.
"""

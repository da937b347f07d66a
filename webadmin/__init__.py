"""The face of the house: what people see of the machine facts, and what they decide.

The Desk is Django's admin in Unfold's clothes. The tour, in reading order:

==================  ===========================================================================
``urls``            the doors: the Desk, a one-time sign-in, a health check
``admin/``          one file a screen; machine facts are read-only for everyone
``dashboard``       the front page: what waits, what went wrong, what to do first
``navigation``      the sidebar, in the order of an ECG's life
``bars``            findings as bars against their thresholds
``trail``           transitions as a timeline
``ruling``          which routing rule would fire on an ECG, and why not the others
``outputs``         what a result is sent as, as boxes to tick
``words``           the colours and short words of states, verdicts and findings
``filters``         what narrows a list
``upload``          add an ECG: whose it is, its files, what came of them
``preview``         a spooled object -> a picture for the browser
``retraining``      the life of a training run; ``trainer`` does the work, of an hour
``evaluating``      a candidate beside the network that serves, and its promotion
``comparing``       what a network says in shadow beside what was reported
``signin``          a login link that works once
``health``          whether the database answers
==================  ===========================================================================

The web process loads no network and opens no DICOM socket. Colour is never alone: every coloured
thing carries its word.
"""

"""The middle of the house: what happened, and what happens next.

``gateway`` is the Django project and its one app of machine facts. It takes what the DICOM edge
(``dicom_node``) hands in, keeps it durably, asks the neural edge (``models``) what it sees, and
sends the reports out again. The tour, in reading order:

========================  =====================================================================
``settings``              one file; every difference between machines is an environment variable
``states``                the states of an instance and the only table that connects them
``models``                the rows: Peer, Association, Study, Instance, Finding, Report, Delivery
``leases``                who may work on a row: claim, advance, postpone, give up
``spool``                 bytes at rest
``keeping``               an object becomes a file, a row and a ring, whichever door it came by
``ingest``                the first door: one C-STORE, and its status
``handing_in``            the second: what people hand in, made an object by ``wrapping``;
                          ``worklist`` says whose it is, ``lookups`` asks it for the Desk
``backfill``              the third: ECGs of the past, from an ``archive``
``pipeline``              who drives the steps: ``analysis``, ``composition`` of ``drafts``,
                          ``delivery``
``serving``               which network serves; ``network`` has it loaded, ``shadow`` reads along
``routing``               which report goes to which Peer; ``outputs`` has what comes instead
``dispatching``           what is still meant for whom when Peers, rules or people have changed
``alerts``                who is told of a finding within seconds, by ``webhook`` or ``mail``
``custody``               what senders ask before they delete; ``holdings`` looks into the spool
``loops``                 results of ours that come back
``tasks``, ``celery``     the same steps on queues, and the sweeper that rings again
``management/commands``   what a person types
========================  =====================================================================

Three sentences carry the whole: states are past participles (facts that are true and durable);
"someone is working on it" is a lease that expires, never a state; the database is the truth and
the broker is only the doorbell, so that losing every message loses nothing.
"""

from gateway.celery import app as celery_app

__version__ = "0.1.0"

__all__ = ["__version__", "celery_app"]

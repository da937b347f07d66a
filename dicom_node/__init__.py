"""The DICOM edge: data sets in, data sets out.

Everything that speaks DICOM lives here and nothing else does. The package knows no database, no
queue and no settings: addresses, folders and callbacks come in as arguments, frozen dataclasses and
typed errors go out.

====================  =======================================================================
``entity``            an Application Entity: title, host, port
``contexts``          the SOP Classes and Transfer Syntaxes we take and offer, and why
``status``            the DIMSE statuses, and what each means for an object we sent
``errors``            what can go wrong, and whether trying again can help
``scp``               the Storage SCP: admit a caller, receive objects, hand them over
``scu``               the SCU: send objects, ask whether a peer is there, what it has, and fetch it
``query``             C-FIND, of an archive and of a worklist
``retrieve``          C-GET and C-MOVE
``commitment``        storage commitment: ask an archive to answer for what it was sent
``custody``           storage commitment: what a sender asks of us, and what we report
``order``             a patient and what was ordered: from a worklist item, into an object
``image``             pixel data of any accepted object -> raster
``waveform``          a stored ECG waveform -> twelve leads in microvolts, and its own numbers
``pdf``               the pages of a PDF, rendered by a process of their own -> rasters
``capture``           raster, pages or JPEG file -> Secondary Capture object
``document``          PDF file -> Encapsulated PDF object
``charset``           text of any Specific Character Set -> clean Unicode
``elements``          data sets of values known to be legal, and their bytes
``codes``             the coded concepts of the reports
``report``            analysis results -> Structured Reports
====================  =======================================================================

Below the two services lie ``server`` (the listening socket), ``acceptor`` (associations that others
ask for) on ``upper_layer`` (their PDUs, one thread a connection), ``calling`` (an association of
ours) and ``enquiry`` (its DIMSE layer for queries and retrieval), ``command`` (command sets),
``reception`` (one object on its way to disk) and ``wire`` (a socket on which no wait of ours is
endless). ``jpeg`` takes a JPEG file apart. ``part10`` opens any file within bounds; below ``image``
lie ``codestream``, ``pixels``, ``icc`` and ``overlays``, below ``waveform`` lie ``multiplex``,
``leads``, ``resampling`` and ``measurements``.
"""

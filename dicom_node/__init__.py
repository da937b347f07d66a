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
``scu``               the Storage and Verification SCU: send objects, ask whether a peer is there
``image``             pixel data of any accepted object -> raster
``waveform``          a stored ECG waveform -> twelve leads in microvolts, and its own numbers
``pdf``               the pages of a PDF, rendered by a process of their own -> rasters
``capture``           raster -> Secondary Capture object
``charset``           text of any Specific Character Set -> clean Unicode
``codes``             the coded concepts of the reports
``report``            analysis results -> Structured Reports
====================  =======================================================================

Below the two services lie ``acceptor`` (pynetdicom's acceptor, with the DIMSE layer of our two
services), ``command`` (command sets), ``reception`` (one object on its way to disk) and ``wire``
(a socket on which no wait is endless). ``part10`` opens any file within bounds; below ``image`` lie
``codestream``, ``pixels``, ``icc`` and ``overlays``, below ``waveform`` lie ``multiplex``,
``leads``, ``resampling`` and ``measurements``.
"""

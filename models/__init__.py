"""Neural networks: arrays in, probabilities out.

"models" here means *neural networks*, not database tables. Tables live in ``<app>/models.py``
of the Django applications; this package knows no Django, no Celery, no settings and no DICOM.

The life of a picture inside this package::

    raster --page.find_page--> Page --packet.pack--> packet --resnet--> logits
           (decoded uint8)     (cropped tracing)     (224, 224, 3)      --calibration--> findings

============= =====================================================================
module        idea
============= =====================================================================
labels        the ten findings: order, key, meaning; kinds of page that are not read
picture       a picture file's frame as a raster
page          find the tracing on a picture, or refuse with a reason
packet        three slices in time become the R, G and B of one packet
architecture  depth, width and input of a network, as values
resnet        the residual network itself
corpus        waveforms to drawn paper pages; edited and simulated rhythms; the patient split
augment       translate, scale, rotate, brighten
train         ``python -m models.train --help``
calibrate     lines and thresholds, set on validation and frozen
familiarity   how far a page is from those of the training
evaluate      ``python -m models.evaluate --help``: what may honestly be claimed
evaluation    how that is found out, and the model card
metrics       figures with their intervals and numbers of positives
artifact      a model on disk: weights, card, hashes
forward       the forward pass that serves
predict       Predictor: load once, read batches of rasters
explain       where on the page a finding was found (overlay: laid over the picture)
store         the shipped artifacts and their model cards
============= =====================================================================

What was tried, with which prediction and which result, is written in ``RUNS.md``.
"""

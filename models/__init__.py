"""Neural networks: arrays in, probabilities out.

"models" here means *neural networks*, not database tables. Tables live in ``<app>/models.py``
of the Django applications; this package knows no Django, no Celery, no settings and no DICOM.

The life of a picture inside this package::

    raster --page.find_page--> Page --packet.pack--> packet --resnet--> logits
           (decoded uint8)     (cropped tracing)     (224, 224, 3)      --calibration--> findings

============= =====================================================================
module        idea
============= =====================================================================
labels        the ten findings: order, key, meaning
page          find the tracing on a picture, or refuse with a reason
traces        what makes dark lines the traces of a twelve-lead page
packet        three slices in time become the R, G and B of one packet
architecture  depth, width and input of a network, as values
resnet        the residual network itself
corpus        waveforms to drawn paper pages; simulated rhythms; the patient split
augment       translate, scale, rotate, brighten
train         ``python -m models.train --help``
calibrate     temperatures and thresholds, set on validation and frozen
evaluate      ``python -m models.evaluate --help``: what may honestly be claimed
artifact      a model on disk: weights, card, hash
predict       Predictor: load once, read batches of rasters
metrics       figures with their intervals and numbers of positives
card          the model card for people
store         the shipped artifacts and their model cards
============= =====================================================================

What was tried, with which prediction and which result, is written in ``RUNS.md``.
"""

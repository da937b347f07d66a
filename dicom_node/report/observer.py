"""Who observed: the gateway as a device (PS3.16 TID 1002, TID 1004)."""

from pydicom.dataset import Dataset

from dicom_node import codes
from dicom_node.report.content import code, text, uidref
from dicom_node.report.result import Device


def observer_context(device: Device) -> list[Dataset]:
    """Return the observation context items of a document's root."""
    return [
        code("HAS OBS CONTEXT", codes.OBSERVER_TYPE, codes.DEVICE),
        uidref("HAS OBS CONTEXT", codes.DEVICE_UID, device.uid),
        text("HAS OBS CONTEXT", codes.DEVICE_NAME, device.name),
        text("HAS OBS CONTEXT", codes.DEVICE_MANUFACTURER, device.manufacturer),
        text("HAS OBS CONTEXT", codes.DEVICE_MODEL, device.model),
        text("HAS OBS CONTEXT", codes.DEVICE_SERIAL, device.serial),
    ]

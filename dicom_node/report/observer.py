"""Who observed: a person, where one has verified it, and the gateway as a device (TID 1002)."""

from pydicom.dataset import Dataset

from dicom_node import codes
from dicom_node.report.content import code, pname, text, uidref
from dicom_node.report.result import AnalysisResult, Device
from dicom_node.report.review import Verifier


def observer_context(result: AnalysisResult) -> list[Dataset]:
    """Return the observation context items of a document's root, the person first."""
    person = [] if result.review is None else _person(result.review.verifier)
    return [*person, *_device(result.device)]


def _person(verifier: Verifier) -> list[Dataset]:
    """TID 1003."""
    return [
        code("HAS OBS CONTEXT", codes.OBSERVER_TYPE, codes.PERSON),
        pname("HAS OBS CONTEXT", codes.PERSON_NAME, verifier.name),
        text("HAS OBS CONTEXT", codes.PERSON_ORGANIZATION, verifier.organization),
    ]


def _device(device: Device) -> list[Dataset]:
    """TID 1004."""
    return [
        code("HAS OBS CONTEXT", codes.OBSERVER_TYPE, codes.DEVICE),
        uidref("HAS OBS CONTEXT", codes.DEVICE_UID, device.uid),
        text("HAS OBS CONTEXT", codes.DEVICE_NAME, device.name),
        text("HAS OBS CONTEXT", codes.DEVICE_MANUFACTURER, device.manufacturer),
        text("HAS OBS CONTEXT", codes.DEVICE_MODEL, device.model),
        text("HAS OBS CONTEXT", codes.DEVICE_SERIAL, device.serial),
    ]

"""Find the tracing on a picture, or refuse it with a reason a person can act on.

    picture --ink--> dark lines --skew--> level --traces--> rows --verdict--> a page or a refusal
                                                                --outline--> where it is cut

`finding` holds it together; `upright` turns what stands on its head, `columns` knows two rows of
six columns. Rules only, no learning.
"""

from models.page.finding import MIN_SIDE_PX, Corner, Page, find_page
from models.page.traces import NotReadable

__all__ = ["MIN_SIDE_PX", "Corner", "NotReadable", "Page", "find_page"]

"""What may go wrong with a Google Sheet, in codes that `batches.messages` has texts for."""

from batches.outside import OutsideError


class SheetError(OutsideError):
    """A Google Sheet that can't be read or written.

    Codes: `google_link` (no link of a sheet), `google_published` (a link of a published page),
    `google_not_shared` (with `address`), `google_not_public` (a site without a Google account),
    `google_not_found`, `google_tab_missing` (`tab`), `google_outside` (cells that aren't there),
    `google_office_file`, `google_too_large` (what there is too much of: `rows` or `columns` with
    their `limit`, `mb`, or `kb` in one cell), `google_read_only` and `google_protected` (with
    `address`), `google_busy` (`seconds`), `google_unreachable`, `google_no_account` (nothing to
    write with), `google_account` (what the operator must mend), `google_refused` (anything else,
    with `status`).
    """

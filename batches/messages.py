"""What people read when an image fails: cause, effect, next step.

Codes are stable, texts are not.
"""

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

TEXTS = {
    "source_unreachable": _("We couldn't open this address. Check it in a browser, then retry."),
    "source_unreachable.seconds": _(
        "We couldn't open this address (no answer in {seconds} s). "
        "Check it in a browser, then retry."
    ),
    "source_unreachable.status": _(
        "The site couldn't give us the image (error {status}). Retry later, or upload the file."
    ),
    "source_forbidden": _(
        "The site refused us ({status}). Make the image public or upload the file."
    ),
    "source_not_found": _("There is nothing at this address ({status})."),
    "source_not_allowed": _(
        "This address can't be used (private network, port, or scheme). "
        "Use a public http or https address, or upload the file."
    ),
    "source_redirects": _(
        "This address redirects too often, or to a place that can't be used. Use the final address."
    ),
    "source_not_image": _("This address gives a web page, not an image."),
    "source_missing": _("This upload isn't here any more. Upload the file again."),
    "format_unsupported": _(
        "This is a {format} file. Use JPG, PNG, WebP, GIF, AVIF, HEIC, BMP or TIFF."
    ),
    "file_too_large": _("{size} MB; the limit is {max} MB. Make the file smaller, then retry."),
    "dimensions_too_large": _("{w} × {h} px is more than this model takes ({max} MP)."),
    "dimensions_too_large.scale": _(
        "{w} × {h} px is too much at {scale}×: here an image may have {max} MP. "
        "Choose a smaller scale, or a smaller image."
    ),
    "dimensions_too_large.cpu": _(
        "{w} × {h} px would take this model too long without a GPU ({max} MP at most). "
        "Choose the fast model, or a smaller image."
    ),
    "dimensions_too_small": _("{w} × {h} px is less than this tool needs."),
    "file_unreadable": _("This file can't be read here ({reason})."),
    "file_empty": _("The file is empty."),
    "image_animated": _("This is an animation. Use a single image."),
    "upload_differs": _(
        "What arrived isn't the file that was announced: it has another length or sha256. "
        "Ask for a new address and send it again."
    ),
    "too_many_uploads": _(
        "Too much is on its way at once. Wait until some of it is here, or remove some."
    ),
    "direct_upload_unavailable": _(
        "This site keeps its files on a disk of its own, so nothing can be sent straight to its "
        "storage. Send the file to “uploads” instead."
    ),
    "direct_upload_missing": _(
        "The file isn't in the storage yet. Send it to the address that you were given, "
        "then complete the upload again."
    ),
    "direct_upload_expired": _(
        "The file never came, and its address has ended. Ask for a new one, send the file there, "
        "and complete that upload."
    ),
    "file_damaged": _("The file ends early or can't be decoded. Save it again, then retry."),
    "no_subject": _("No subject was found. Try another model or a tighter crop."),
    "instruction_not_understood": _(
        "“{part}” was not understood, so nothing was changed. Say what to do with the whole "
        "photo, its subject or its background, such as {examples}, or choose another model."
    ),
    "mask_empty": _(
        "The mask has nothing white in it, so nothing would be removed. Paint over what is to go."
    ),
    "mask_too_large": _(
        "The mask covers nearly all of the image: nothing is left to fill it with. "
        "Paint over less, or crop the image instead."
    ),
    "mask_wrong_size": _(
        "The mask has {mask_w} × {mask_h} px, the image {w} × {h} px. "
        "Use a mask of the image's size."
    ),
    "model_out_of_memory": _(
        "The model ran out of memory on this image. We tried once at a smaller size. "
        "Use a smaller image or another model."
    ),
    "model_unavailable": _("This model can't run at the moment. Retry later or choose another."),
    "engine_unreachable": _(
        "The service that does this work ({service}) doesn't answer. Retry later, "
        "or choose another model."
    ),
    "engine_busy": _(
        "The service that does this work ({service}) has no time for us now. Retry later, "
        "or choose another model."
    ),
    "engine_uncertain": _(
        "The service that does this work ({service}) took it and was not heard of again. "
        "Retry, or choose another model."
    ),
    "engine_refused": _(
        "The service that does this work ({service}) refused us. Choose another model, "
        "and tell the site's operator."
    ),
    "engine_content": _(
        "The service that does this work ({service}) has rules against this image or these "
        "words. Change the words, or choose another model."
    ),
    "engine_answer": _(
        "The service that does this work ({service}) answered something that can't be used. "
        "Retry, or choose another model."
    ),
    "engine_budget": _(
        "This site has spent on {service} what it may spend in a day. Retry tomorrow, "
        "or choose another model."
    ),
    "worker_lost": _(
        "The worker stopped {n} times on this image. Try another model or a smaller image."
    ),
    "worker_stopped": _("The worker was stopped before it was done. Another one runs the image."),
    "connection_gone": _(
        "The account that this belongs to isn't connected any more. "
        "Connect it again and start anew, or upload the file."
    ),
    "connection_sealed": _(
        "The site's own keys have changed, so that it can't open this account any more. "
        "Open the connection and enter its secret again."
    ),
    "store_unreachable": _(
        "The account's server doesn't answer. We try again by ourselves; "
        "if it lasts, check the server, then retry."
    ),
    "store_unreachable.status": _(
        "The account's server is out of order (error {status}). We try again by ourselves; "
        "if it lasts, retry later."
    ),
    "store_credentials": _(
        "The account refused our key: it is wrong, has ended or was revoked. "
        "Open the connection and enter the key and its secret again."
    ),
    "store_forbidden": _(
        "The account doesn't let this key do that. Give the key the right to list, read and "
        "write files there, or choose another folder."
    ),
    "store_missing": _(
        "It isn't there any more: the bucket, the folder or the file. Check the name, then retry."
    ),
    "store_limit": _(
        "The account takes no more requests for now, so we wait. It goes on by itself."
    ),
    "store_name_taken": _(
        "There is a file of this name already, and the account doesn't let us replace it. "
        "Choose to rename, or another folder."
    ),
    "store_damaged": _(
        "What arrived in the account is not what we sent. Retry; "
        "if it happens again, tell the account's provider."
    ),
    "store_refused": _(
        "The account refused the request (error {status}). Check the connection, then retry."
    ),
    "store_not_allowed": _(
        "This server can't be used ({host}): its address is private, not encrypted, or on an "
        "unusual port. Use a public https address, or ask the site's operator to allow it."
    ),
    "store_clock": _(
        "The account's clock and ours differ by more than it accepts. Tell the site's operator."
    ),
    "store_path": _(
        "The path “{path}” can't be used: part of it is empty, a dot, or a control character. "
        "Choose another name."
    ),
    "store_name_too_long": _(
        "The path is longer than the account takes ({max}). Use a shorter name or folder."
    ),
    "sheet_file_missing": _(
        "The file {name} isn't here any more, so nothing can be written into a copy of it. "
        "Take the results as a new file of the other kind, or as a ZIP."
    ),
    "workbook_damaged": _(
        "This workbook is built in a way that we can't add columns to without risk, so it was "
        "left alone. Take the results as CSV instead."
    ),
    "workbook_encrypted": _(
        "This workbook is protected by a password, so nothing can be written into a copy of it. "
        "Take the results as CSV instead."
    ),
    "workbook_signed": _(
        "This workbook is signed, and a copy with more columns would lose the signature. "
        "Take the results as CSV instead."
    ),
    "workbook_binary": _(
        "This is a binary workbook (XLSB), which can't be written into. "
        "Take the results as CSV instead."
    ),
    "workbook_tab_missing": _(
        "The sheet “{tab}” isn't in this workbook. Take the results as CSV instead."
    ),
    "workbook_formulas": _(
        "The column {column} has formulas in it, which would be lost. Rename it in the "
        "workbook and import that, or take the results as CSV."
    ),
    "workbook_full": _(
        "There is no room for more columns in this sheet. Take the results as CSV instead."
    ),
    "csv_damaged": _(
        "This CSV file can't be taken apart, so nothing was written into a copy of it. "
        "Take the results as an Excel file instead."
    ),
    "sheet_empty": _(
        "There are no rows in this table, so there is nothing to run. Choose another sheet or file."
    ),
    "sheet_damaged": _(
        "The spreadsheet is damaged and can't be read. "
        "Open it in a spreadsheet program, save it again, then retry."
    ),
    "sheet_encrypted": _(
        "The spreadsheet is protected by a password, so we can't read it. "
        "Save a copy without one, then retry."
    ),
    "sheet_kind": _("This is a {kind} file, which isn't read here. Save it as XLSX or CSV."),
    "sheet_not_a_table": _("This file is no spreadsheet. Use an XLSX or CSV file."),
    "sheet_too_large": _(
        "{size} MB; a spreadsheet may have {max} MB. Take out pictures or split it, then retry."
    ),
    "sheet_too_complex": _(
        "Unpacked, this spreadsheet takes more memory or time than we give one. "
        "Copy its values into a new file, or save it as CSV."
    ),
    "sheet_too_many_rows": _("The table has more than {max} rows. Split it, then retry."),
    "sheet_too_many_columns": _(
        "The table has {n} columns; {max} are read. Remove those on the right that aren't needed."
    ),
    "sheet_cell_too_long": _(
        "A cell in row {row} is too long to be read; perhaps a quotation mark in or above it "
        "isn't closed. Shorten or correct it, then retry."
    ),
    "sheet_tab_missing": _("There is no sheet called “{tab}” in this file. It has: {tabs}."),
    "sheet_quote_unclosed": _(
        "A cell goes on over several rows; perhaps a quotation mark isn't closed. "
        "Rows that it has swallowed would not run. Correct it in the file, or skip the row."
    ),
    "sheet_quote_unclosed.rows": _(
        "A quotation mark seems not to be closed in row {rows}: the rows below are taken for a "
        "part of its cell. Correct it in the file, or skip the row."
    ),
    "sheet_pictures": _(
        "Pictures that lie in the sheet aren't read. Give addresses of images instead."
    ),
    "sheet_formulas": _(
        "{n} formulas have no value yet and count as empty. "
        "Open the file in a spreadsheet program and save it, so that they are calculated."
    ),
    "sheet_merged": _(
        "{n} merged cells span several rows; only the first of these rows has their value."
    ),
    "row_invalid": _("This row can't be used: {detail}"),
    "settings_invalid": _("A setting of this image is wrong: {detail}"),
    "tool_unavailable": _("The tool can't run with these settings: {reason}"),
    "google_link": _(
        "This is no link to a Google Sheet. Open the sheet and copy the address of the browser."
    ),
    "google_published": _(
        "This link leads to a published page. Open the sheet itself and copy the address of the "
        "browser."
    ),
    "google_not_shared": _(
        "We may not see this sheet. Share it with {address}, then try again; "
        "or let anyone with the link view it."
    ),
    "google_not_public": _(
        "We can't see this sheet. Let anyone with the link view it, then try again; "
        "or download it as CSV and upload the file."
    ),
    "google_not_found": _("There is no Google Sheet at this link. Check whether it was deleted."),
    "google_tab_missing": _(
        "The sheet has no tab {tab} (any more). Give it its name back, or choose another tab."
    ),
    "google_outside": _("The sheet was made smaller while we were at it. Try again in a moment."),
    "google_office_file": _(
        "This is an Excel file that Google shows. Download it and upload the file, "
        "or save it as a Google Sheet."
    ),
    "google_too_large": _("The sheet has too much in it. Divide it, then try again."),
    "google_too_large.rows": _(
        "The sheet has more than {limit} rows. Divide it into several tabs, then try again."
    ),
    "google_too_large.columns": _(
        "The sheet has more than {limit} columns. Use a tab with fewer, then try again."
    ),
    "google_too_large.mb": _(
        "The sheet has more than {mb} MB in it. Divide it into several tabs, then try again."
    ),
    "google_too_large.kb": _(
        "A cell of the sheet has more than {kb} KB in it. Make it shorter, then try again."
    ),
    "google_read_only": _(
        "We may see this sheet, but not write to it. Make {address} an editor, then try again."
    ),
    "google_protected": _(
        "Cells that we would write to are protected. Let {address} edit them, then try again."
    ),
    "google_busy": _("Google has no time for us now. Try again in {seconds} s."),
    "google_unreachable": _("Google doesn't answer. Try again in a minute."),
    "google_account": _(
        "This site's access to Google doesn't work, so nothing was read or written. Tell the "
        "site's operator; or download the sheet as CSV and upload the file."
    ),
    "google_refused": _(
        "Google refused this (error {status}). Check the sheet and its link, then try again."
    ),
    "google_no_account": _(
        "This site has no Google account, so it can read public sheets and write to none. "
        "Take the results as CSV or Excel instead."
    ),
    "google_no_header": _(
        "Results need a row of column names in the sheet, and there is none. "
        "Insert one above the first row, then try again."
    ),
    "google_column_lost": _(
        "The sheet has no column “{column}” any more, which says which image a row is about. "
        "Give it its name back, then try again."
    ),
    "google_no_sheet": _(
        "This batch didn't come from a Google Sheet, so there is none to write to. "
        "Choose another place."
    ),
    "rows_lost": _(
        "Row {rows} of the sheet isn't there any more or has changed; nothing was written for it. "
        "Put its address back, then send again."
    ),
    "rows_lost.count": _(
        "{count} rows of the sheet aren't there any more or have changed ({rows}); nothing was "
        "written for them. Put their addresses back, then send again."
    ),
    "sheet_gone": _("The sheet is not here any more. Choose its file again."),
    "insufficient_credits": _("Not enough credits: {required} needed, {available} left."),
    "library_full": _(
        "The library is full ({gigabytes} GB), so nothing was added. Empty the trash, or delete "
        "what you don't need."
    ),
    "asset_source_gone": _("The file of {name} isn't there any more, so it can't be kept."),
    "folder_taken": _("There is a folder called {name} here already. Choose another name."),
    "folder_too_deep": _(
        "Folders can lie {max} deep within each other. Choose a folder further up."
    ),
    "folder_inside_itself": _("{name} can't be moved into itself. Choose another folder."),
    "folder_not_empty": _(
        "{name} is not empty, so it stays. Move its contents, or delete them along with it."
    ),
    "folder_missing": _("This folder isn't there any more. Load the page again."),
    "folders_full": _("A library holds {max} folders. Delete some that you don't need."),
    "tags_full": _("An image can have {max} tags, so nothing was changed. Give fewer."),
    "alt_text_too_long": _("An alt text can have {max} characters. Make it shorter."),
    "too_many_chosen": _("More than {max} were chosen, so nothing was changed. Choose fewer."),
    "name_conflict": _(
        "Rows {first} and {second} would both be saved as “{name}”. Give one of them another "
        "name, or have the pattern number them."
    ),
    "cap_exceeded": _(
        "The earlier result is gone, and to make it anew would cost more than this batch may "
        "spend ({total} credits in all; its limit is {cap})."
    ),
    "delivery_failed": _(
        "Sending it went wrong on our side. The result is here to download; send it again later."
    ),
    "place_unknown": _("This site takes results to no place called {place}. Choose another one."),
    "account_gone": _(
        "The account that this was for is not connected any more. Connect it, then send anew."
    ),
    "courier_lost": _(
        "The worker that carried it stopped {n} times. The result is here to download; send it "
        "again."
    ),
    "disk_full": _(
        "There was no room for the file on our side. The results are here; retry later, and tell "
        "the site's operator."
    ),
    "result_gone": _("The result's file isn't here any more. Run the image again."),
    "undo_changed": _(
        "{path} was changed or removed by somebody else since, so it was left as it is."
    ),
    "undo_description": _("A description can't be taken back from here. Change it at its place."),
    "recurring_column_lost": _(
        "The sheet has no column “{column}” any more. Give it its name back, or set the schedule "
        "up anew."
    ),
    "recurring_no_addresses": _(
        "No column of the sheet has addresses of images, so there is nothing to run. "
        "Put them into a column called “image”."
    ),
    "recurring_still_running": _(
        "The run before had not ended, so this one was left out. What is new comes with the next."
    ),
    "recurring_month_spent": _(
        "The {cap} credits of this month are used up, so nothing was run. What waits comes next "
        "month, or when you raise the cap."
    ),
    "recurring_cap_small": _(
        "One image costs {price} credits, and {cap} are all that may be spent, so nothing was "
        "run. Raise the cap of the schedule."
    ),
    "recurring_none_done": _(
        "None of the {n} images could be made. No credits were used. Open the batch to see why."
    ),
    "recurring_tool_gone": _(
        "This site has no tool “{tool}” any more, so nothing was run. Choose another tool."
    ),
    "recurring_circle": _(
        "The results would lie where the images come from, and would be run again and again. "
        "Choose another folder for them."
    ),
    "recurring_refused": _("The batch could not be made: {detail}"),
    "recurring_delivery": _("The results can't go where they should: {detail}"),
    "recurring_settings": _("The settings don't fit the tool any more: {detail}"),
    "processing_failed": _("Something went wrong on our side. Retry; if it fails again, tell us."),
}

DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "source_forbidden": {"status": 403},
    "source_not_found": {"status": 404},
    "format_unsupported": {"format": _("unknown")},
    "file_too_large": {"size": _("Over 20"), "max": 20},
    "dimensions_too_large": {"w": "?", "h": "?", "max": 50},
    "dimensions_too_small": {"w": "?", "h": "?"},
    "file_unreadable": {"reason": "?"},
    **{code: {"service": _("a service outside")} for code in TEXTS if code.startswith("engine_")},
    "instruction_not_understood": {"part": "?", "examples": _("“a bit warmer”")},
    "mask_wrong_size": {"mask_w": "?", "mask_h": "?", "w": "?", "h": "?"},
    "store_refused": {"status": "?"},
    "store_not_allowed": {"host": "?"},
    "store_path": {"path": "?"},
    "store_name_too_long": {"max": 1024},
    "worker_lost": {"n": 5},
    "google_not_shared": {"address": _("this site's account")},
    "google_read_only": {"address": _("this site's account")},
    "google_protected": {"address": _("this site's account")},
    "google_tab_missing": {"tab": "?"},
    "google_too_large": {"limit": 100_000},
    "google_busy": {"seconds": 60},
    "google_refused": {"status": "?"},
    "google_column_lost": {"column": "?"},
    "rows_lost": {"rows": "?"},
    "sheet_file_missing": {"name": "?"},
    "workbook_tab_missing": {"tab": "?"},
    "workbook_formulas": {"column": "?"},
    "sheet_kind": {"kind": _("foreign")},
    "sheet_too_large": {"size": _("Over 50"), "max": 50},
    "sheet_too_many_rows": {"max": 100_000},
    "sheet_too_many_columns": {"n": "?", "max": 100},
    "sheet_cell_too_long": {"row": "?"},
    "sheet_tab_missing": {"tab": "?", "tabs": "?"},
    "sheet_formulas": {"n": "?"},
    "sheet_merged": {"n": "?"},
    "place_unknown": {"place": "?"},
    "courier_lost": {"n": 5},
    "undo_changed": {"path": "?"},
    "row_invalid": {"detail": ""},
    "settings_invalid": {"detail": ""},
    "tool_unavailable": {"reason": ""},
    "name_conflict": {"first": "?", "second": "?", "name": "?"},
    "cap_exceeded": {"total": "?", "cap": "?"},
    "insufficient_credits": {"required": "?", "available": "?"},
    "library_full": {"gigabytes": "?"},
    "asset_source_gone": {"name": _("this image")},
    "folder_taken": {"name": "?"},
    "folder_too_deep": {"max": 8},
    "folder_inside_itself": {"name": _("A folder")},
    "folder_not_empty": {"name": _("The folder")},
    "folders_full": {"max": 1000},
    "tags_full": {"max": 50},
    "alt_text_too_long": {"max": 2000},
    "too_many_chosen": {"max": 500},
    "recurring_column_lost": {"column": "?"},
    "recurring_month_spent": {"cap": "?"},
    "recurring_cap_small": {"price": "?", "cap": "?"},
    "recurring_none_done": {"n": "?"},
    "recurring_tool_gone": {"tool": "?"},
    "recurring_refused": {"detail": ""},
    "recurring_delivery": {"detail": ""},
    "recurring_settings": {"detail": ""},
}


def text(code: str, params: Mapping[str, Any] | None = None) -> str:
    """The sentence for a code, in the reader's language; an unknown code gets the general one.

    Where a figure makes for a better sentence there is one under `code.figure`. A `setting`
    says that the picture which a setting names is meant, and not the image itself.
    """
    params = params or {}
    better = (TEXTS[name] for key in params if (name := f"{code}.{key}") in TEXTS)
    template = next(better, TEXTS.get(code, TEXTS["processing_failed"]))
    sentence = str(template).format(**{**DEFAULTS.get(code, {}), **params})
    if setting := params.get("setting"):
        return gettext("{setting}: {sentence}").format(setting=setting, sentence=sentence)
    return sentence

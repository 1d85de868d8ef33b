"""Readers of the published layouts and of your own folder: one table, one row per image.

Every reader returns string columns, missing values `<NA>`: `id` (unique), `edition`, `image` (the
source's own id, the same in every edition), `archive` and `member` (where the file is), `label`,
`diagnosis`, `patient`, `lesion`, and where there are masks `mask_archive` and `mask_member`. Errors
name the file, up to five rows and the remedy, in one line.
"""

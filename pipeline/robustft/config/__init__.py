"""Reading `config/`."""

from robustft.config.load import Config, Document, load_document, merged

__all__ = ["Config", "Document", "load_document", "merged"]

"""Units, words and lexicons."""

from wfst_entropy.lang.lang_dir import LangDir as LangDir

__all__ = ["LangDir"]

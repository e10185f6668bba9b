"""The paper's tables and figures, each from the files of its protocol."""

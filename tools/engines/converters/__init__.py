"""Files of weights in other formats, made into what the studio runs.

Each module has ``convert(*files, target=...)``, which writes the same bytes for the same files
whenever the packages in its ``PACKAGES`` are those of requirements.txt. Only
``manage.py fetchweights`` comes here; no process that serves people imports `onnx`.
"""

"""YOLOv3, YOLOv4 and YOLOv4-tiny."""

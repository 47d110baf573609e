"""Boxes on images: COCO, Pascal VOC, KITTI and YOLO, read and written."""

"""LiDAR frames with boxes: KITTI's, TAO's and OpenPCDet's layouts."""

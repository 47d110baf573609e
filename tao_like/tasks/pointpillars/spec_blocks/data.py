"""The data's part of the spec of pointpillars, in TAO's names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tao_like.config import Problem, spec_block, spec_field
from tao_like.config.blocks.split_data import batch_size_field, shuffle_field, workers_field

DATASET_TYPES = ("GeneralPCDataset", "KittiDataset", "CustomDataset")
FEATURES = ("x", "y", "z", "intensity")
AUGMENTATIONS = (
    "gt_sampling",
    "random_world_flip",
    "random_world_rotation",
    "random_world_scaling",
    "random_object_noise",
)
VOXELS = "transform_points_to_voxels"


@dataclass
class DataSplitSpec:
    """Which part of the data each split is: a folder of TAO's layout, or a list in ImageSets."""

    train: str = spec_field("train", "To train on")
    val: str | None = spec_field("val", "To validate on; empty: nothing")
    test: str | None = spec_field(None, "To test on; empty: as val")
    val_share: float = spec_field(
        0.0,
        "Fraction of the training frames to validate on instead, where val is empty: the last ones by name, "
        "as neighbours of a recording look alike",
        ge=0,
        lt=1,
    )

    @property
    def is_divided(self) -> bool:
        """Whether the validation frames are cut off the training frames."""
        return not self.val and self.val_share > 0


@dataclass
class PointFeatureSpec:
    """What the numbers of a point are."""

    src_feature_list: list[str] = spec_field(
        list(FEATURES),
        "Names of the numbers of a point in a file, in order; nuScenes has [x, y, z, intensity, ring]",
    )
    used_feature_list: list[str] = spec_field(
        list(FEATURES), "The four that the network takes: x, y, z and the strength of the echo"
    )
    intensity_scale: float = spec_field(
        1.0, "Largest strength of an echo, by which it is divided: 1 for KITTI, 255 for bytes", gt=0
    )

    @property
    def columns(self) -> tuple[int, ...]:
        """Where the used numbers stand."""
        return tuple(self.src_feature_list.index(name) for name in self.used_feature_list)

    def check(self) -> Iterator[Problem]:
        """Four known names, x, y, z first."""
        names = self.src_feature_list
        if len(set(names)) != len(names):
            yield Problem("src_feature_list", f"{names} has a name twice")
        used = self.used_feature_list
        if len(used) != len(FEATURES) or used[:3] != list(FEATURES[:3]):
            yield Problem("used_feature_list", f"{used}: give x, y, z and one more")
        if missing := [name for name in used if name not in names]:
            yield Problem("used_feature_list", f"{missing[0]} is not in src_feature_list={names}")


@dataclass
class ProcessorSpec:
    """A step of the preprocessing; TAO's list of them."""

    name: str = spec_field(
        VOXELS,
        "Step",
        choices=("mask_points_and_boxes_outside_range", "shuffle_points", VOXELS),
    )
    remove_outside_boxes: bool = spec_field(True, "Learn no boxes whose center lies outside the range")
    shuffle: dict[str, bool] = spec_field({}, "Without effect here: pillars know no order of points")
    voxel_size: list[float] = spec_field([0.16, 0.16, 4.0], "Sides of a pillar", unit="metres", element_gt=0)
    max_points_per_voxel: int = spec_field(32, "Without effect here: every point of a pillar counts", ge=1)
    max_number_of_voxels: dict[str, int] = spec_field({}, "Without effect here: every pillar counts")


@dataclass
class PrefaceSpec:
    """Which objects the database of ground-truth sampling takes."""

    filter_by_min_points: list[str] = spec_field(
        ["Car:5", "Pedestrian:5", "Cyclist:5"], "Fewest points of an object: CLASS:NUMBER"
    )


@dataclass
class AugmentorSpec:
    """A random change of training frames; TAO's list of them."""

    name: str = spec_field("random_world_flip", "Kind of change", choices=AUGMENTATIONS)
    sample_groups: list[str] = spec_field(
        ["Car:15", "Pedestrian:15", "Cyclist:15"],
        "gt_sampling: objects of a class that a frame shall have, filled up from other frames: CLASS:NUMBER",
    )
    preface: PrefaceSpec = spec_block(PrefaceSpec, "gt_sampling: which objects are taken")
    along_axis_list: list[str] = spec_field(
        ["x"], "random_world_flip: axes that are kept; x swaps left and right", choices=("x", "y")
    )
    world_rot_angle: list[float] = spec_field(
        [-0.78539816, 0.78539816],
        "random_world_rotation: least and greatest turn of the whole frame",
        unit="radians",
    )
    world_scale_range: list[float] = spec_field(
        [0.95, 1.05], "random_world_scaling: smallest and largest factor", element_gt=0
    )
    object_rot_angle: list[float] = spec_field(
        [-0.15707963, 0.15707963], "random_object_noise: turn of each object", unit="radians"
    )
    object_shift: list[float] = spec_field(
        [0.25, 0.25, 0.25], "random_object_noise: standard deviation of its shift", unit="metres"
    )
    db_info_path: list[str] = spec_field([], "Without effect here: the database is made in memory")
    num_point_features: int = spec_field(4, "Without effect here: points have four numbers", ge=4)
    disable_with_fake_lidar: bool = spec_field(False, "Without effect here")
    limit_whole_scene: bool = spec_field(
        False, "gt_sampling: the objects that a frame has count towards sample_groups"
    )
    remove_extra_width: list[float] = spec_field(
        [0.0, 0.0, 0.0],
        "gt_sampling: by how much more than its box an object displaces points",
        unit="metres",
    )

    def check(self) -> Iterator[Problem]:
        """Ranges rise, and groups are read."""
        for name in ("world_rot_angle", "world_scale_range", "object_rot_angle"):
            value = getattr(self, name)
            if len(value) != 2 or value[0] > value[1]:
                yield Problem(name, f"{value} is not allowed; give two numbers, the smaller first")
        for name in ("object_shift", "remove_extra_width"):
            if len(getattr(self, name)) != 3:
                yield Problem(name, f"{getattr(self, name)} is not allowed; give three numbers")
        for key, groups in (
            ("sample_groups", self.sample_groups),
            ("preface.filter_by_min_points", self.preface.filter_by_min_points),
        ):
            for group in groups:
                if not group.rpartition(":")[0] or not group.rpartition(":")[2].isdigit():
                    yield Problem(key, f"{group} is not allowed; write CLASS:NUMBER, such as Car:15")


DEFAULT_AUGMENTATIONS = [
    AugmentorSpec(name=name)
    for name in ("gt_sampling", "random_world_flip", "random_world_rotation", "random_world_scaling")
]


@dataclass
class DataAugmentorSpec:
    """What is changed at random in training frames; boxes follow."""

    disable_aug_list: list[str] = spec_field([], "Names of changes of the list that are left out")
    aug_config_list: list[AugmentorSpec] = spec_field(DEFAULT_AUGMENTATIONS, "The changes, in order")

    @property
    def steps(self) -> list[AugmentorSpec]:
        """Those that are not left out."""
        return [step for step in self.aug_config_list if step.name not in self.disable_aug_list]


@dataclass
class DatasetSpec:
    """The data."""

    type: str = spec_field(
        "GeneralPCDataset",
        "Layout: GeneralPCDataset (TAO's: SPLIT/lidar and SPLIT/label, boxes in the LiDAR's frame), "
        "KittiDataset (as published: training/velodyne, label_2, calib, and ImageSets), CustomDataset "
        "(OpenPCDet's: points, labels, ImageSets)",
        choices=DATASET_TYPES,
    )
    data_path: str | None = spec_field(None, "Folder of the data", path=True)
    data_split: DataSplitSpec = spec_block(DataSplitSpec, "Parts of the data")
    class_names: list[str] = spec_field(
        ["Car", "Pedestrian", "Cyclist"],
        "Classes to find, in the order of the outputs; other labels count not",
    )
    map_class_to: dict[str, str] = spec_field(
        {}, "Label of the data to the class that it is learnt as, such as {Van: Car}"
    )
    crop_to_camera: bool = spec_field(
        True, "KittiDataset: only points that the camera sees, as only there objects are labelled"
    )
    image_size: list[int] = spec_field(
        [1242, 375], "KittiDataset: width and height of a camera image where none is at hand", element_gt=0
    )
    point_feature_encoding: PointFeatureSpec = spec_block(PointFeatureSpec, "The numbers of a point")
    point_cloud_range: list[float] = spec_field(
        [0.0, -39.68, -3.0, 69.12, 39.68, 1.0],
        "Smallest x, y, z and largest x, y, z that the network sees",
        unit="metres",
    )
    data_processor: list[ProcessorSpec] = spec_field(
        [ProcessorSpec(name="mask_points_and_boxes_outside_range"), ProcessorSpec(name=VOXELS)],
        "Steps of the preprocessing",
    )
    data_augmentor: DataAugmentorSpec = spec_block(DataAugmentorSpec, "Augmentation")
    batch_size: int | str = batch_size_field("frames", 4)
    workers: int | str = workers_field("frames")
    shuffle: bool = shuffle_field()
    balanced_resampling: bool = spec_field(
        False,
        "Draw training frames so that every class has the same chance: those with rare classes come several "
        "times an epoch",
    )

    @property
    def voxel_size(self) -> tuple[float, float, float]:
        """Sides of a pillar in metres."""
        (size,) = (step.voxel_size for step in self.data_processor if step.name == VOXELS)
        x, y, z = size
        return x, y, z

    @property
    def remove_outside_boxes(self) -> bool:
        """Whether boxes outside the range are not learnt."""
        masks = [step for step in self.data_processor if step.name.startswith("mask_points")]
        return not masks or masks[0].remove_outside_boxes

    @property
    def grid(self) -> tuple[int, int]:
        """Pillars along x and along y."""
        limits, size = self.point_cloud_range, self.voxel_size
        return round((limits[3] - limits[0]) / size[0]), round((limits[4] - limits[1]) / size[1])

    def check(self) -> Iterator[Problem]:
        """Range, pillars and classes have a meaning."""
        limits = self.point_cloud_range
        if len(limits) != 6 or any(limits[i] >= limits[i + 3] for i in range(3)):
            yield Problem("point_cloud_range", f"{limits}: give smallest x, y, z, then largest x, y, z")
            return
        voxels = [step.voxel_size for step in self.data_processor if step.name == VOXELS]
        if len(voxels) != 1 or len(voxels[0]) != 3:
            yield Problem("data_processor", f"needs one step {VOXELS} with a voxel_size of three numbers")
            return
        for axis, name in enumerate("xy"):
            count = (limits[axis + 3] - limits[axis]) / voxels[0][axis]
            if abs(count - round(count)) > 1e-3:
                yield Problem(
                    "point_cloud_range",
                    f"along {name} it holds {count:.3f} pillars of {voxels[0][axis]:g} m; give whole ones",
                )
        if not self.class_names or len(set(self.class_names)) != len(self.class_names):
            yield Problem("class_names", f"{self.class_names}: give each class once, and at least one")
        if len(self.image_size) != 2:
            yield Problem("image_size", f"{self.image_size}: give width and height")

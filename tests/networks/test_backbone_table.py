from __future__ import annotations

import subprocess
import sys

import pytest
import timm
from timm.models import get_pretrained_cfg

from tao_like.networks.backbones.table import backbone_table, rows_by_name

ONE_OF_EACH_KIND = [
    "resnet50",
    "vit_tiny_patch16_224",
    "tf_efficientnet_lite0",
    "darknet53",
    "vgg11",
    "convnext_atto",
]


def test_table_holds_timms_architectures() -> None:
    known = set(timm.list_models())
    listed = set(rows_by_name())
    assert not listed - known
    # A newer timm may have some that the table does not list yet.
    assert len(listed) > 0.95 * len(known)


@pytest.mark.parametrize("name", ONE_OF_EACH_KIND)
def test_row_agrees_with_timm(name: str) -> None:
    row = rows_by_name()[name]
    facts = get_pretrained_cfg(name)
    assert row.parameters == sum(value.numel() for value in timm.create_model(name).parameters())
    assert row.normalization.mean == facts.mean
    assert row.normalization.std == facts.std
    assert row.normalization.crop_pct == facts.crop_pct
    assert row.normalization.interpolation == facts.interpolation
    assert row.normalization.input_size == facts.input_size
    assert row.licence == (facts.license or "")
    assert row.family in timm.list_modules()
    assert name in timm.list_models(module=row.family)


def test_published_parameter_counts() -> None:
    """As torchvision documents them for the same networks."""
    rows = rows_by_name()
    assert rows["resnet18"].parameters == 11_689_512
    assert rows["resnet50"].parameters == 25_557_032
    assert rows["vgg11"].parameters == 132_863_336
    assert rows["densenet121"].parameters == 7_978_856


def test_pattern_is_part_of_a_name_or_a_shell_pattern() -> None:
    assert [row.name for row in backbone_table("LITE0")] == ["efficientnet_lite0", "tf_efficientnet_lite0"]
    assert [row.name for row in backbone_table("resnet?8")] == ["resnet18"]
    assert backbone_table("no such network") == []
    assert len(backbone_table()) == len(rows_by_name())


def test_table_and_names_need_no_torch() -> None:
    program = (
        "import sys\n"
        "from tao_like.networks.backbones.names import resolve_name\n"
        "from tao_like.networks.backbones.table import backbone_table\n"
        "assert resolve_name('resnet_50') == 'resnet50'\n"
        "assert all(row.offline is None or row.offline for row in backbone_table())\n"
        "assert not {'torch', 'timm', 'torchvision', 'numpy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)

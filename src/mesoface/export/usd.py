"""``face.usdz``: mesh, colour and normal map for USD pipelines. Needs the extra ``mesoface[usd]``."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from mesoface.errors import MesofaceError
from mesoface.export.meshes import CLAY, ROUGHNESS, Asset, make_asset
from mesoface.export.normals import encode_normals
from mesoface.export.source import ExportSource
from mesoface.files.atomic import atomic_file
from mesoface.files.images import png

_EDGE_MM = 1.0
_CENTIMETRES = 0.1


def export_usd(source: ExportSource, folder: Path) -> list[str]:
    """Write ``face.usdz``: centimetres (USD's own default, and stated), +Y up, UsdPreviewSurface.

    Raises:
        MesofaceError: USD is not installed, the file cannot be written, or the mesh cannot be made.
    """
    require_usd()
    from pxr import Sdf, UsdUtils

    asset = make_asset(source, edge_mm=_EDGE_MM)
    with tempfile.TemporaryDirectory(prefix="mesoface-usd-") as name:
        scratch = Path(name)
        _write_stage(scratch / "face.usdc", asset)
        package = scratch / "face.usdz"
        if not UsdUtils.CreateNewUsdzPackage(Sdf.AssetPath(str(scratch / "face.usdc")), str(package)):
            raise MesofaceError("USD could not make the package", path=folder / "face.usdz")
        with atomic_file(folder / "face.usdz") as temporary:
            temporary.write_bytes(package.read_bytes())
    return [f"face.usdz: {asset.about}, centimetres"]


def require_usd() -> None:
    """Make sure that USD's Python package is installed.

    Raises:
        MesofaceError: it is not.
    """
    try:
        import pxr  # noqa: F401
    except ImportError as error:
        raise MesofaceError("USD needs the package usd-core", remedy="pip install 'mesoface[usd]'") from error


def _write_stage(path: Path, asset: Asset) -> None:
    """Write the stage and its images beside it."""
    from pxr import Gf, Sdf, Usd, UsdGeom, UsdShade, Vt

    stage = Usd.Stage.CreateNew(str(path))
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
    UsdGeom.SetStageMetersPerUnit(stage, UsdGeom.LinearUnits.centimeters)
    root = UsdGeom.Xform.Define(stage, "/face")
    stage.SetDefaultPrim(root.GetPrim())

    drawn = asset.drawn
    mesh = UsdGeom.Mesh.Define(stage, "/face/skin")
    points = (drawn.position * _CENTIMETRES).astype(np.float32)
    mesh.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(points))
    mesh.CreateFaceVertexCountsAttr(Vt.IntArray.FromNumpy(np.full(len(drawn.faces), 3, np.int32)))
    mesh.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(drawn.faces.astype(np.int32).ravel()))
    mesh.CreateNormalsAttr(Vt.Vec3fArray.FromNumpy(drawn.normal.astype(np.float32)))
    mesh.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
    # A polygon mesh: subdividing it would round what was measured.
    mesh.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    low, high = points.min(0), points.max(0)
    mesh.CreateExtentAttr([Gf.Vec3f(*map(float, low)), Gf.Vec3f(*map(float, high))])
    st = UsdGeom.PrimvarsAPI(mesh).CreatePrimvar(
        "st", Sdf.ValueTypeNames.TexCoord2fArray, UsdGeom.Tokens.vertex
    )
    st.Set(Vt.Vec2fArray.FromNumpy(drawn.uv.astype(np.float32)))

    material = UsdShade.Material.Define(stage, "/face/material")
    shader = _shader(stage, "/face/material/surface", "UsdPreviewSurface")
    shader.CreateInput("roughness", Sdf.ValueTypeNames.Float).Set(ROUGHNESS)
    shader.CreateInput("metallic", Sdf.ValueTypeNames.Float).Set(0.0)
    color = shader.CreateInput("diffuseColor", Sdf.ValueTypeNames.Color3f)
    if asset.color is None:
        color.Set(Gf.Vec3f(*CLAY))
    else:
        (path.parent / "color.png").write_bytes(png(asset.color))
        color.ConnectToSource(_texture(stage, "color", "sRGB"))
    if asset.normals is not None:
        (path.parent / "normal.png").write_bytes(png(encode_normals(asset.normals, np.uint8)))
        normal = shader.CreateInput("normal", Sdf.ValueTypeNames.Normal3f)
        normal.ConnectToSource(_texture(stage, "normal", "raw", scale=2.0, bias=-1.0))
    material.CreateSurfaceOutput().ConnectToSource(shader.ConnectableAPI(), "surface")
    UsdShade.MaterialBindingAPI.Apply(mesh.GetPrim()).Bind(material)
    stage.GetRootLayer().Save()


def _texture(stage: Any, name: str, space: str, *, scale: float = 1.0, bias: float = 0.0) -> Any:
    """The RGB output of a node that reads ``name``.png at the mesh's UVs."""
    from pxr import Gf, Sdf

    reader = _shader(stage, f"/face/material/{name}_uv", "UsdPrimvarReader_float2")
    reader.CreateInput("varname", Sdf.ValueTypeNames.String).Set("st")
    node = _shader(stage, f"/face/material/{name}", "UsdUVTexture")
    node.CreateInput("file", Sdf.ValueTypeNames.Asset).Set(Sdf.AssetPath(f"./{name}.png"))
    node.CreateInput("sourceColorSpace", Sdf.ValueTypeNames.Token).Set(space)
    node.CreateInput("st", Sdf.ValueTypeNames.Float2).ConnectToSource(
        reader.CreateOutput("result", Sdf.ValueTypeNames.Float2)
    )
    for key, value in (("scale", scale), ("bias", bias)):
        node.CreateInput(key, Sdf.ValueTypeNames.Float4).Set(Gf.Vec4f(value))
    for wrap in ("wrapS", "wrapT"):
        node.CreateInput(wrap, Sdf.ValueTypeNames.Token).Set("clamp")
    return node.CreateOutput("rgb", Sdf.ValueTypeNames.Float3)


def _shader(stage: Any, path: str, kind: str) -> Any:
    from pxr import UsdShade

    shader = UsdShade.Shader.Define(stage, path)
    shader.CreateIdAttr(kind)
    return shader

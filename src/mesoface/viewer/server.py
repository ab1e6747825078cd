"""The viewer: a web page served on this machine by viser, which includes its client (no network)."""

from __future__ import annotations

import io
import threading
from contextlib import redirect_stdout
from functools import partial

import numpy as np
import viser
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mesoface.geometry.camera import Camera
from mesoface.geometry.mesh import unit
from mesoface.viewer.result import RGB, UNIT, ShadingName, ViewedResult, legend, shaded_glb, shadings

Array = NDArray[np.float64]

_FIELD_OF_VIEW = np.radians(20.0)
_THUMBNAIL = 256  # of the photos in the frusta, pixels
_FREE = "free"  # looking through no camera
# Direction to the light (to the subject's left, up, out of the face), its strength.
_LIGHTS = (((-0.75, 0.65, 0.55), 2.5), ((0.85, -0.05, 0.60), 0.6), ((0.3, 0.9, -0.4), 0.7))
_AMBIENT = 0.3


class Viewer:
    """Shows a result until it is closed.

    Args:
        result: what is shown.
        host: address to listen on; by default this machine only, because photos of people are private.
        port: port to listen on; the next free one when it is taken.

    Attributes:
        server: viser's server, to add things to the scene. Its unit is the metre.
    """

    def __init__(self, result: ViewedResult, *, host: str = "127.0.0.1", port: int = 8080):
        self._result = result
        self._cameras = {name: c.scaled_world(UNIT) for name, c in result.face.cameras.views.items()}
        self._lock = threading.Lock()  # viser calls back from many threads
        self._photo: viser.ImageHandle | None = None
        name = (result.face.cameras.capture or result.face.folder).name
        with redirect_stdout(io.StringIO()):  # viser prints a banner
            self.server = viser.ViserServer(host, port, label=f"mesoface · {name}", verbose=False)
        self._frusta = self.server.scene.add_frame("/cameras", show_axes=False)
        self._stage()
        self._controls()
        self._draw_cameras()
        self._draw_surface()

    @property
    def port(self) -> int:
        """The port of the page."""
        return self.server.get_port()

    def close(self) -> None:
        """Stop serving."""
        self.server.stop()

    def wait(self) -> None:
        """Serve until interrupted."""
        self.server.sleep_forever()

    def show(self, surface: str, shading: ShadingName) -> None:
        """Choose surface and shading, as in the panel.

        Raises:
            ValueError: there is no such surface, or it does not have this shading.
        """
        if surface not in self._result.surfaces:
            raise ValueError(f"surface must be one of {list(self._result.surfaces)}, got {surface!r}")
        names = shadings(self._result, self._result.surfaces[surface])
        if shading not in names:
            raise ValueError(f"shading must be one of {names}, got {shading!r}")
        self._offer(names)
        self._shading.value = shading
        self._surface.value = surface

    def look_through(self, name: str | None, *, photo: float = 0.5) -> None:
        """Look through a camera, or freely again.

        Args:
            name: of the view, or None.
            photo: how strongly its photo covers the face, 0 to 1.

        Raises:
            ValueError: there is no such view.
        """
        if name is not None and name not in self._cameras:
            raise ValueError(f"view must be one of {list(self._cameras)}, got {name!r}")
        self._fade.value = photo
        self._through.value = _FREE if name is None else name

    @property
    def center(self) -> Array:
        """(3,) middle of the face, viewer's unit."""
        mesh = next(iter(self._result.surfaces.values())).mesh
        return (mesh.vertices.min(0) + mesh.vertices.max(0)) / 2 * UNIT

    def _distances(self) -> Array:
        """(V,) of the capture's cameras from the face, viewer's unit."""
        return np.array([np.linalg.norm(camera.center - self.center) for camera in self._cameras.values()])

    def _stage(self) -> None:
        """Lights and the initial view."""
        server, axes = self.server, self._result.face.fit.rotation
        server.gui.configure_theme(show_logo=False, show_share_button=False, control_width="medium")
        server.scene.set_up_direction(tuple(axes[:, 1]))
        server.scene.configure_default_lights(enabled=False)
        server.scene.configure_environment_map(None)
        server.scene.add_light_ambient("/lights/ambient", intensity=_AMBIENT)
        for index, (direction, strength) in enumerate(_LIGHTS):
            towards = axes @ unit(np.array(direction))
            server.scene.add_light_directional(
                f"/lights/{index}", intensity=strength, position=tuple(towards.tolist())
            )
        mesh = next(iter(self._result.surfaces.values())).mesh
        half = 0.65 * float(np.ptp(mesh.vertices @ axes, axis=0)[:2].max()) * UNIT
        # a portrait lens, but in front of the capture's cameras, which would block the view
        distance = min(half / np.tan(_FIELD_OF_VIEW / 2), 0.6 * self._distances().min())
        camera = server.initial_camera
        camera.fov, camera.near, camera.far = float(2 * np.arctan(half / distance)), 0.01, 100.0
        camera.look_at = self.center
        camera.position = self.center + axes[:, 2] * distance

    def _controls(self) -> None:
        """The panel."""
        gui, result = self.server.gui, self._result
        names = list(result.surfaces)
        self._surface = gui.add_dropdown("Surface", names, hint="how far the run went")
        self._shading = gui.add_dropdown("Shading", shadings(result, result.surfaces[names[0]]))
        self._legend = gui.add_image(np.full((2, 2, 3), 255, np.uint8), visible=False)
        with gui.add_folder("Cameras"):
            self._show_frusta = gui.add_checkbox("Show", initial_value=True)
            self._through = gui.add_dropdown(
                "Look through", [_FREE, *self._cameras], hint="or click a camera in the scene"
            )
            self._fade = gui.add_slider(
                "Photo", 0.0, 1.0, 0.05, 0.5, hint="0: only the face, 1: only the photo", disabled=True
            )
        if result.notes:
            gui.add_markdown("\n".join(f"*{_plain(note)}.*\n" for note in result.notes))
        self._surface.on_update(lambda _: self._choose_surface())
        self._shading.on_update(lambda _: self._draw_surface())
        self._show_frusta.on_update(lambda _: self._look())
        self._through.on_update(lambda _: self._look())
        self._fade.on_update(lambda _: self._draw_photo())

    def _choose_surface(self) -> None:
        """Switch to the chosen surface, in a shading that it has."""
        names = shadings(self._result, self._result.surfaces[self._surface.value])
        self._offer(names)
        if self._shading.value not in names:
            self._shading.value = names[0]
        self._draw_surface()

    def _offer(self, names: list[ShadingName]) -> None:
        """Offer ``names`` in the panel."""
        if list(self._shading.options) != names:
            self._shading.options = names

    def _draw_surface(self) -> None:
        """Replace the surface by the chosen one in the chosen shading."""
        with self._lock:
            surface = self._result.surfaces[self._surface.value]
            shading: ShadingName = self._shading.value
            if shading not in shadings(self._result, surface):
                return  # about to be replaced by one that fits
            self.server.scene.add_glb("/face", shaded_glb(self._result, surface, shading))
            bar = legend(surface, shading)
            self._legend.visible = bar is not None
            if bar is not None:
                self._legend.image = bar

    def _draw_cameras(self) -> None:
        """A frustum for every camera, with its photo; a click looks through it."""
        distance = float(np.median(self._distances()))
        for name, camera in self._cameras.items():
            photo = self._result.photos.get(name)
            frustum = self.server.scene.add_camera_frustum(
                f"/cameras/{name.replace('/', '_')}",  # a slash would be a step of the scene's path
                fov=field_of_view(camera),
                aspect=camera.width / camera.height,
                scale=frustum_scale(camera, 0.2 * distance),
                thickness=0.001 * distance,
                color=(180, 83, 42),
                image=None if photo is None else _thumbnail(photo),
                wxyz=quaternion(camera),
                position=camera.center,
            )
            frustum.on_click(partial(self._clicked, name))

    def _clicked(self, name: str, _: object) -> None:
        self._through.value = name

    def _look(self) -> None:
        """Look through the chosen camera, or freely."""
        name = self._through.value
        self._frusta.visible = self._show_frusta.value and name == _FREE
        self._fade.disabled = name not in self._result.photos
        if name != _FREE:
            for client in self.server.get_clients().values():
                _stand_at(client, self._cameras[name], self.center)
        self._draw_photo()

    def _draw_photo(self) -> None:
        """Draw the photo in front of the face, as opaque as the slider is set."""
        with self._lock:
            name = self._through.value
            photo, strength = self._result.photos.get(name), self._fade.value
            if self._photo is not None:
                self._photo.remove()
                self._photo = None
            if photo is None or strength == 0:
                return
            camera = self._cameras[name]
            depth = 0.5 * float(camera.to_camera(self.center)[2])
            center, width, height = photo_plane(camera, depth)
            alpha = np.full((*photo.shape[:2], 1), round(255 * strength), np.uint8)
            self._photo = self.server.scene.add_image(
                "/photo",
                np.concatenate([photo, alpha], -1),
                width,
                height,
                wxyz=quaternion(camera),
                position=center,
                cast_shadow=False,
                receive_shadow=False,
            )


def _stand_at(client: viser.ClientHandle, camera: Camera, center: Array) -> None:
    """Move a browser's camera to ``camera``, with the whole photo in the window."""
    depth = float(camera.to_camera(center)[2])
    with client.atomic():
        client.camera.up_direction = -camera.R[1]
        client.camera.position = camera.center
        client.camera.look_at = camera.center + camera.forward * depth
        client.camera.fov = covering_field_of_view(camera, client.camera.aspect)


def _thumbnail(photo: RGB) -> RGB:
    step = max(1, max(photo.shape[:2]) // _THUMBNAIL)
    return np.ascontiguousarray(photo[::step, ::step])


def _plain(text: str) -> str:
    """Text with Markdown's special characters escaped."""
    return "".join(f"\\{letter}" if letter in r"\`*_{}[]<>()#+-.!|" else letter for letter in text)


def quaternion(camera: Camera) -> Array:
    """(4,) w, x, y, z: camera axes (x right, y down, z forward) → world."""
    return np.roll(Rotation.from_matrix(camera.R.T).as_quat(), 1)


def photo_plane(camera: Camera, depth: float) -> tuple[Array, float, float]:
    """Where a photo covers its camera's field of view: (3,) the plane's centre, its width and height.

    It is at ``depth`` along the optical axis, in the unit of ``depth`` and the camera. The principal point
    need not be the photo's middle.
    """
    fx, fy = camera.K[0, 0], camera.K[1, 1]
    middle = np.array([(camera.width - 1) / 2, (camera.height - 1) / 2])
    center = camera.unproject(middle, np.array(depth))
    return center, camera.width / fx * depth, camera.height / fy * depth


def field_of_view(camera: Camera) -> float:
    """Vertical, radians: of a frustum drawn for the photo."""
    return float(2 * np.arctan2(camera.height / 2, camera.K[1, 1]))


def frustum_scale(camera: Camera, depth: float) -> float:
    """The ``scale`` that makes viser's frustum ``depth`` long: viser keeps its volume, not its length."""
    half_height = np.tan(field_of_view(camera) / 2)
    half_width = half_height * camera.width / camera.height
    return float(depth * np.cbrt(half_width * half_height / 3))


def covering_field_of_view(camera: Camera, aspect: float) -> float:
    """Vertical, radians: of a window of ``aspect`` (width / height) that shows the whole photo.

    The window looks along the optical axis, so the farther of two opposite edges sets the size.
    """
    fx, fy = camera.K[0, 0], camera.K[1, 1]
    cx, cy = camera.K[0, 2] + 0.5, camera.K[1, 2] + 0.5
    half_width = max(cx, camera.width - cx) / fx
    half_height = max(cy, camera.height - cy) / fy
    return float(2 * np.arctan(max(half_height, half_width / aspect)))

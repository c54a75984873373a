"""Faces: what draws the picture for a moment of media time."""

ADAPTERS: dict[str, str] = {"vector": "avatar.face.vector:VectorFace"}

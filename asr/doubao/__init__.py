"""Volcengine's Doubao streaming speech recognition."""

from asr.doubao.client import STTClient
from asr.doubao.endpoint import Endpoint
from asr.doubao.request import RecognitionConfig, RequestBuilder
from asr.doubao.result_processor import DoubaoResultProcessor, create_text_only_callback
from asr.doubao.service import create_asr_service
from asr.doubao.transcript import RecognitionResult

__all__ = [
    "DoubaoResultProcessor",
    "Endpoint",
    "RecognitionConfig",
    "RecognitionResult",
    "RequestBuilder",
    "STTClient",
    "create_asr_service",
    "create_text_only_callback",
]

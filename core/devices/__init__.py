"""Devices that speak the xiaozhi protocol (ESP32 boxes, py-xiaozhi, web clients) talk to our ears, mind and voice.

Source of the protocol: docs/websocket.md of https://github.com/78/xiaozhi-esp32
"""

import pytest

from avatar.language import language_of


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Hello, how are you?", "en"),
        ("你好", "zh"),
        ("My name is 小明.", "zh"),
        ("我用的是WebRTC和Python。", "zh"),
        ("こんにちは、元気ですか", "ja"),
        ("東京へ行く", "ja"),
        ("这是优の良品店里最好吃的东西", "zh"),
        ("안녕하세요", "ko"),
        ("Привет, как дела?", "ru"),
        ("Привіт, її звати Олена", "uk"),
        ("مرحبا بك", "ar"),
        ("नमस्ते", "hi"),
        ("Γεια σου", "el"),
        ("שלום", "he"),
        ("สวัสดี", "th"),
        ("Ich bin heute nicht müde", "de"),
        ("Bonjour, je suis là pour vous", "fr"),
        ("Hola, ¿cómo está usted?", "es"),
        ("Xin chào các bạn, rất vui được gặp", "vi"),
        ("Dzień dobry, jak się pan czuje?", "pl"),
        ("Ale co w domu, to zawsze jego.", "pl"),
        ("Dobrý večer, co si dáte?", "cs"),
        ("Jag är inte trött på dig än", "sv"),
        ("Köszönöm, ez nagyon szép volt", "hu"),
        ("Bună ziua, vă mulţumesc pentru tot", "ro"),
        ("Bugün hava çok güzel değil mi?", "tr"),
        ("Ik weet niet of het vandaag regent", "nl"),
        ("Saya tidak bisa datang karena hujan", "id"),
        ("O cão não quer sair de casa", "pt"),
        ("The Ångström unit is named after Anders Ångström", "en"),
        ("I met Zoë and Dvořák's brother at the office", "en"),
        ("Call the café on Champs-Élysées", "en"),
        ("She said hello to Иван", "en"),
        ("12 + 30 = 42", "en"),
        ("", "en"),
        ("😀 ...", "en"),
    ],
)
def test_language(text: str, language: str) -> None:
    assert language_of(text) == language


def test_default_is_the_callers() -> None:
    assert language_of("42", default="zh") == "zh"

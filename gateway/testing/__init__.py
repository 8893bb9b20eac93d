"""What every adapter and every handler promises, as tests: for the built-in ones, and for those of installed packages.

It needs pytest and pytest-asyncio. A package tests its own with a subclass:

    from gateway.testing.handlers import HandlerContract

    class TestMine(HandlerContract):
        @pytest.fixture
        def maker(self): return Mine

        @pytest.fixture
        def settings(self): return MineSettings(type="mine")
"""

import pytest

pytest.register_assert_rewrite("gateway.testing.channels", "gateway.testing.handlers")

"""Fakes of what cannot be had where the tests run; each one is named a fake.

`program.FakeProgram` stands for a program (recorded argv); the other modules are servers that
answer real programs.
"""

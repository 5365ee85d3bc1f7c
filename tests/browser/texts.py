"""What is said in the seeded conversations."""

LONG_ANSWER = """\
### Answer {n}

Some **bold** words, a [link](https://example.com/{n}) and `code` for question {n}.

| a | b |
| - | - |
| 1 | {n} |

```python
print({n})
```
"""

PLAN_QUESTION = "Plan my dinners for next week, please. I have rice and lentils, and no time on Wednesday."

PLAN = """\
Here is a week in three steps:

1. **Look** at what is there: rice, lentils, *perhaps* tomatoes.
2. **Plan** two dinners around it, and leave Wednesday free.
3. **Buy** once, on Saturday.

| Day | Dinner | Minutes |
| --- | --- | ---: |
| Monday | Lentil curry | 35 |
| Tuesday | Tomato rice | 25 |
| Wednesday | *something cold* | 5 |

And the list for the shop, for your notes:

```python
shop = {"coconut milk": 2, "spinach": "500 g", "tomatoes": 6}
print(", ".join(shop))
```
"""

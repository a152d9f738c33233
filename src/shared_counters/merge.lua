-- What is kept of a node and a name: the node's newest word (what it has under way, and how much of what was taken for it
-- here it knew of by then), and how much was taken for it here. What it did not know of yet is under way as well.
local function merge(kept, word)
  local taken, taken_tokens = 0, 0
  if kept then
    taken, taken_tokens = kept.taken, kept.taken_tokens
    if kept.number > word.number then
      word = kept
    end
  end
  -- The node knows more than is kept here: this was forgotten meanwhile.
  if taken < word.known then
    taken, taken_tokens = word.known, word.known_tokens
  end
  word.taken, word.taken_tokens = taken, taken_tokens
  return word
end

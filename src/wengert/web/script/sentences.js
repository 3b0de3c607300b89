// The causes of findings, sentence by sentence: what flow's findings say in English, with the same numbers in Chinese.
const KIND_OF = {"the weights": "权重", "attention": "注意力", "pooling": "池化", "normalisation": "归一化", "shortcuts": "残差连接", "shortcut": "残差连接",
  "the loss": "损失", "loss": "损失", "other": "其他", "activations' derivatives": "激活函数的导数", "the recurrence": "循环", "recurrence": "循环",
  "embedding": "嵌入", "dropout": "随机失活", "gate": "门控", "time": "时间传递", "all of it": "全部"};
const kindSaid = text => KIND_OF[text] ?? text.replace(/^the (.*) derivatives$/, "$1 的导数").replace(/^the derivatives of (.*)$/, "$1 的导数").replace(/^the /, "");
const partsSaid = text => text.split(", ").map(p => p.replace(/^([\d.]+ %) from (.*)$/, (_, share, what) => `${share} 来自${kindSaid(what).replace(/^\w/, " $&")}`)).join("，");
const decadesSaid = text => text.replace(/ decades?/g, " 个数量级").replace("all of it", "全部");

const SENTENCES = [
  [/^of a (loss|growth) of ([\d.]+) decades over (\d+) layers ?(.*)$/, (_, way, d, n, rest) => `梯度经过 ${n} 层共${way === "loss" ? "缩小" : "放大"} ${d} 个数量级${rest ? `：${partsSaid(rest)}` : ""}。`],
  [/^all of the gradient is lost over (\d+) layers ?(.*)$/, (_, n, rest) => `梯度在 ${n} 层中完全消失${rest ? `：${partsSaid(rest)}` : ""}。`],
  [/^([\d.]+) decades over (\d+) layers$/, "$2 层共 $1 个数量级。"],
  [/^the gradient ends: it is exactly 0 at (\d+) of (\d+) layers$/, "梯度中断：$2 层中有 $1 层的梯度恰好为 0。"],
  [/^(\d+) layers have weights of zero, through which no gradient comes$/, "$1 层的权重全为 0，梯度无法通过。"],
  [/^weights have σ√fan_in = (.*) in the middle layer, (.*) would keep the scale; the output is (.*) times as large as the input$/,
    "中间层权重的 σ√fan_in = $1，保持尺度需要 $2；输出是输入的 $3 倍。"],
  [/^(\d+) layers with weights one after the other and no way around them; the gradient's norm changes by (.*) decades, and (.*) of what the last layer reads differs between examples(.*)$/,
    (_, n, d, share, rest) => `${n} 个带权层首尾相接，没有旁路；梯度范数变化 ${d} 个数量级，最后一层读到的数值中只有 ${share} 随样本而变${
      rest.replace(/^; gradients of inputs that differ by a tenth have a cosine of (.*), as those of noise have$/, "；输入相差十分之一时梯度的余弦为 $1，与噪声无异")}。`],
  [/^going back from step (\d+) to step 1 the gradient loses (.*), ([\d.]+|inf) a step: 99 % of it comes from the last (\d+) of (\d+) steps$/,
    (_, n, lost, each, last, of) => `从第 ${n} 步回到第 1 步，梯度损失${lost === "all of it" ? "殆尽" : ` ${decadesSaid(lost)}`}，每步 ${each}：99 % 来自 ${of} 步中的最后 ${last} 步。`],
  [/^going back from step (\d+) the gradient ends before step 1: 99 % of it comes from the last (\d+) of (\d+) steps$/, "从第 $1 步往回，梯度到不了第 1 步：99 % 来自 $3 步中的最后 $2 步。"],
  [/^going back from step (\d+) to step 1 the gradient grows (without bound|by ([\d.]+) decades, ([\d.]+) a step): the recurrent weights stretch it$/,
    (_, n, grown, d, each) => `从第 ${n} 步回到第 1 步，梯度被循环权重放大${d ? ` ${d} 个数量级，每步 ${each}` : "，没有止境"}。`],
  [/^recurrent weights make a state (.*) times as long at every step; 1 keeps its length$/, "循环权重使状态每步放大到 $1 倍；1 倍才保持长度。"],
  [/^all (\d+) parameters are frozen, so that nothing can be learned$/, "全部 $1 个参数都被冻结，什么也学不到。"],
  [/^the optimizer leaves (\d+) of (\d+) parameters as they are$/, "优化器不更新 $2 个参数中的 $1 个。"],
  [/^(\d+) of (\d+) parameters are frozen$/, "$2 个参数中有 $1 个被冻结。"],
  [/^the loss depends on no parameter at all: it is computed through (.*), which has no derivative$/, "损失得不到任何参数的导数：计算经过没有导数的 $1。"],
  [/^the loss doesn't depend on (\d+) of (\d+) parameters: what is made of them goes through (.*), which has no derivative$/, "$2 个参数中有 $1 个得不到梯度：由它们算出的结果经过没有导数的 $3。"],
  [/^the loss depends on no parameter at all: it is computed from constants$/, "损失不依赖任何参数：它由常量算出。"],
  [/^the loss doesn't depend on (\d+) of (\d+) parameters: what is made of them is not used$/, "损失不依赖 $2 个参数中的 $1 个：由它们算出的结果没有被使用。"],
  [/^(\d+) attentions look at nothing: .*$/, "$1 个注意力层什么也看不到：掩码把所有位置对所有查询都遮住了(True 或 -inf 表示遮住)，只有最后的偏置在训练。"],
  [/^the derivative of (\w+) is 0 everywhere: no gradient reaches (\d+) of (\d+) parameters$/, "$1 的导数处处为 0：$3 个参数中有 $2 个得不到梯度。"],
  [/^the parameter '(.*)' itself holds NaN or infinity \((\d+) parameters? do(?:es)?\)$/, "参数 $1 本身含有 NaN 或无穷大(共 $2 个参数)。"],
  [/^(the loss is (\S+)|the gradient of (.*) is not finite)(?:: outputs grow (.*) times from layer to layer until they overflow)?\. First: (.*)$/s,
    (_, what, loss, where, grow, first) => `${loss ? `损失为 ${loss}` : `${where} 的梯度不是有限值`}${grow ? `：输出逐层放大 ${grow} 倍，直到溢出` : ""}。最先出现：${firstSaid(first)}。`],
  [/^the output is a (\w+) between 0 and 1, and cross entropy takes its softmax: .*$/, "输出是 0 到 1 之间的 $1，而交叉熵又对它取 softmax：logits 最多相差 1，各类的概率拉不开。"],
  [/^the output is a softmax already, and cross entropy applies another: .* the loss can't fall below (.*)$/, "输出已经是 softmax，而交叉熵又取了一次：它看到的数都在 0 与 1 之间，损失无法低于 $1。"],
  [/^a softmax runs over axis 0, the (\d+) examples, instead of axis 1, the (\d+) classes: .*$/, "softmax 沿第 0 轴($1 个样本)而不是第 1 轴($2 个类别)计算：一个样本的结果取决于批次里还有哪些样本。"],
  [/^the loss is (.*) with its sign turned: .*$/,
    (_, what) => `损失是取反了符号的${what.replace("binary cross entropy", "二元交叉熵").replace("cross entropy", "交叉熵").replace("nll_loss", " nll_loss")}：它越低，输出错得越多。`],
  [/^the output is a sigmoid already, and binary cross entropy with logits applies another$/, "输出已经是 sigmoid，而带 logits 的二元交叉熵又取了一次。"],
  [/^nll_loss is given probabilities, not their logarithms: .*$/, "nll_loss 得到的是概率而不是其对数：确信的错误几乎没有代价。"],
  [/^nll_loss is given numbers that are no logarithms of probabilities: it has no lower bound$/, "nll_loss 得到的不是概率的对数：损失没有下界。"],
  [/^([\d.]+ %) of the units get no gradient from any of (\d+) examples: (.*?) (?:is|are) flat there(?: \(their bias is (.*) on average\))?$/,
    (_, share, n, act, bias) => `${share} 的神经元从 ${n} 个样本中得不到任何梯度：${act.replace(/ and /, " 和 ")} 在那里是平的${bias ? `(偏置平均为 ${bias})` : ""}。`],
  [/^the output is made by a (\w+) that is flat for all (\d+) examples: no gradient passes$/, "输出由 $1 得到，它对全部 $2 个样本都是平的：梯度无法通过。"],
  [/^([\d.]+ %) of the outputs of (.*) lie where it is flat \(derivative below 2 % of its largest\): what it reads has size (.*) on average$/,
    "$2 有 $1 的输出处在平坦区(导数不到最大值的 2 %)：它的输入平均大小为 $3。"],
  [/^in (\d+) of (\d+) layers all units have the same weights, .*$/, "$2 层中有 $1 层的所有神经元权重相同，得到的梯度也相同，永远不会分化。"],
  [/^all units of a layer have the same weights, .*$/, "同一层的所有神经元权重相同，得到的梯度也相同，永远不会分化。"],
  [/^(?:the first step is (.*?) times as large as the weights themselves; )?after (\d+) steps with learning rate (\S+) on one batch the loss (.*); with (\S+) it goes from (\S+) to (\S+)$/,
    (_, size, n, rate, end, good, a, b) => `${size ? `第一步就是权重本身的 ${size} 倍；` : ""}以学习率 ${rate} 在一个批次上训练 ${n} 步后，损失${endSaid(end)}；用 ${good} 则从 ${a} 变为 ${b}。`],
  [/^(\d+) steps on this batch bring the loss from (\S+) to (\S+) with (.*), to (\S+) without$/,
    (_, n, a, b, what, c) => `在这一批次上训练 ${n} 步：${what.replace("weight decay", "权重衰减").replace("dropout of", "随机失活").replace(" and ", " 和 ")} 时损失从 ${a} 变为 ${b}，不用则为 ${c}。`],
  [/^(\d+) steps with rate (\S+) bring the loss from (\S+) to (\S+), with (\S+) to (\S+); along the first step it falls until that is (\S+) times as long$/,
    "以学习率 $2 训练 $1 步，损失从 $3 变为 $4；用 $5 则到 $6；沿第一步的方向，步长放大到 $7 倍之前损失一直下降。"],
  [/^the gradients of the batch's halves differ so much that a direction would need (.*) examples; the batch has (\d+); expected near a minimum and for small batches$/,
    "批次两半的梯度相差太大：定出方向需要 $1 个样本，而批次只有 $2 个；接近极小值或批次很小时属于正常。"],
  [/^a direction would need over (.*) examples, the batch has (\d+); expected near a minimum$/, "定出方向需要超过 $1 个样本，而批次只有 $2 个；接近极小值时属于正常。"],
  [/^in (\d+) of (\d+) looks, steps (\d+) to (\d+), the step raised the loss of its own batch; (.*) of it would have been best$/, "第 $3 到 $4 步的 $2 次观察中有 $1 次，这一步反而抬高了本批次的损失；最好的步长是它的 $5。"],
  [/^a step promises to take away (\S+) of the loss, which has fallen by (.*) %$/, "一步预期只能降低损失的 $1，而损失已经下降了 $2 %。"],
  [/^in '(.*)' (\d+) % of the (.*), (\d+) % at first$/, "“$1”中现在有 $2 % 的神经元或数值如此，开始时为 $4 %。"],
  [/^all (\d+) examples have the same input, but not the same target: nothing tells them apart$/, "$1 个样本的输入完全相同，目标却不同：无从区分。"],
  [/^the inputs are far from mean 0 and size 1, which initial weights are made for: (.*)$/, (_, told) => `输入远非均值 0、大小 1，而初始权重正是为此设计的：${toldSaid(told)}。`],
  [/^outputs of shape (\(.*?\)) and targets of shape (\(.*?\)) broadcast to (\(.*?\)): .*$/, "形状为 $1 的输出与形状为 $2 的目标被广播成 $3：损失把每个输出与所有目标相比，最多只能学到目标的均值。"],
  [/^the output is made by a (\w+), (.*?), but (.*?) of the targets lie outside, from (\S+) to (\S+): the mean distance can't fall below (\S+) \(one constant output reaches (\S+)\)$/,
    (_, kind, reach, share, a, b, least, one) => `输出由 ${kind} 得到，${reach.replace(/never below (.*)/, "不会低于 $1").replace(/never above (.*)/, "不会高于 $1").replace(/from (.*) to (.*)/, "范围是 $1 到 $2")}，但 ${share} 的目标在此之外(${a} 到 ${b})：平均距离无法低于 ${least}(常数输出可达 ${one})。`],
  [/^the targets are (\S+) ± (\S+), the outputs of size (\S+): .*$/, "目标为 $1 ± $2，而输出的大小为 $3：适合权重的学习率要走非常久才能到达。"],
];

const firstSaid = text => text.replace(/(\w+) made (\d+) infinit(?:y|ies) \(of (\d+) numbers?\)/, "$1 产生了 $2 个无穷大(共 $3 个数)")
  .replace(/(\w+) made (\d+) NaNs? \(of (\d+) numbers?\)/, "$1 产生了 $2 个 NaN(共 $3 个数)").split("\n")[0];
const endSaid = text => text.replace("is no longer finite", "不再是有限值").replace(/has gone from (\S+) to (\S+)/, "从 $1 变为 $2")
  .replace(/has been thrown from (\S+) to (\S+) on the way/, "中途从 $1 被甩到 $2");
const toldSaid = text => text.replaceAll(", and ", "，").replace(/their size \(root mean square\) is (\S+)/, "均方根大小为 $1")
  .replace(/a feature's mean is (\S+) times its spread away from 0/, "某个特征的均值偏离 0 达其散布的 $1 倍")
  .replace(/the widest feature spreads (\S+) times as far as the middle one/, "最宽特征的散布是中位特征的 $1 倍");

// a cause in Chinese; null where no sentence fits
function cause(text) {
  for (const [pattern, said] of SENTENCES) if (pattern.test(text)) return text.replace(pattern, said);
  return null;
}
